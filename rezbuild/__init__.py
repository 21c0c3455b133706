"""rezbuild: CPython and its native dependencies as Rez packages that can be moved.

This is what ``package.py`` files call. Rez evaluates those several times per command, so nothing
heavy is imported here.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rezbuild.catalogue import Recipe
    from rezbuild.platforms import Platform

__version__ = "0.1.0"


@dataclass(frozen=True)
class Package:
    """What the ``package.py`` of one recipe says to Rez, for the version that is asked for."""

    recipe: Recipe
    version: str

    @property
    def variants(self) -> list[list[str]]:
        """The host's variant; one of another platform would fail to build here."""
        from rez.system import system  # noqa: PLC0415 (only inside Rez)

        return [[f"platform-{system.platform}", f"arch-{system.arch}"]]

    @property
    def requires(self) -> list[str]:
        """What it is built against, exactly where REZBUILD_<NAME>_VERSION is set."""
        from rezbuild.settings import version_variable  # noqa: PLC0415 (see above)

        requests = self.recipe.release(self.version).requires
        names = [request.partition("-")[0] for request in requests]
        exact = [os.environ.get(version_variable(name)) for name in names]
        return [
            f"{name}=={version}" if version and "==" not in request else request
            for name, version, request in zip(names, exact, requests)
        ]

    @property
    def build_command(self) -> list[str]:
        """Rez's own interpreter runs the hook: the build environment's PATH has no venv on it."""
        return [sys.executable, "-I", "-m", "rezbuild.hook"]

    @property
    def built_from(self) -> dict[str, str]:
        """What the installed package records: source, sums, recipe and profile."""
        from rezbuild import manifest  # noqa: PLC0415 (see above)

        release = self.recipe.release(self.version)
        source = release.archives[0]
        asked = os.environ.get("REZBUILD_PROFILE", "").strip()
        return {
            "url": source.urls[0],
            "sha256": source.sha256,
            "license": release.license,
            "recipe": manifest.recipe_revision(self.recipe, release),
            **({"profile": profile(asked, central=_releasing())} if self.recipe.profiled else {}),
        }


def package() -> Package:
    """The package whose ``package.py`` calls this.

    Raises:
        rez.exceptions.PackageMetadataError: The catalogue or the version asked for is wrong. Of
            other exceptions Rez shows a trace (rez/cli/build.py, setup_parser_common).
    """
    from rez.exceptions import PackageMetadataError  # noqa: PLC0415 (only inside Rez)

    from rezbuild import catalogue  # noqa: PLC0415 (see above)
    from rezbuild.errors import RezbuildError  # noqa: PLC0415 (see above)

    # Rez gives package.py no __file__, but compiles it under its path (rez/serialise.py, _load_py).
    file = sys._getframe(1).f_code.co_filename  # noqa: SLF001
    try:
        recipe = catalogue.load(Path(file).parent)
        found = Package(recipe, _version(recipe))
        found.built_from  # noqa: B018 (so that whatever is wrong with the recipe is said here)
    except RezbuildError as error:
        raise PackageMetadataError(str(error)) from None
    return found


# By recipe folder. A process evaluates package.py several times, and its build may fetch a source
# meanwhile: each evaluation has to return the same version.
_versions: dict[Path, str] = {}


def _version(recipe: Recipe) -> str:
    """Return the version to build: REZBUILD_<NAME>_VERSION, else what a bare command means.

    ``rez-build`` takes the newest release of the default's series whose source is here, else the
    default. ``rez-release`` takes the default: a release must not depend on what one cache holds.
    """
    from rezbuild import local_sources  # noqa: PLC0415 (see above)
    from rezbuild.settings import Settings, version_variable  # noqa: PLC0415 (see above)

    asked = os.environ.get(version_variable(recipe.name))
    if asked or _releasing():
        return asked or recipe.default
    if recipe.folder not in _versions:
        _versions[recipe.folder] = local_sources.newest(recipe, Settings.read()).version
    return _versions[recipe.folder]


def platform() -> Platform:
    """The version that is meant, of the package of requests whose ``package.py`` calls this.

    Raises:
        rez.exceptions.PackageMetadataError: platform.toml or the version asked for is wrong.
    """
    from rez.exceptions import PackageMetadataError  # noqa: PLC0415 (only inside Rez)

    from rezbuild import platforms  # noqa: PLC0415 (see above)
    from rezbuild.errors import RezbuildError  # noqa: PLC0415 (see above)
    from rezbuild.settings import version_variable  # noqa: PLC0415 (see above)

    folder = Path(sys._getframe(1).f_code.co_filename).parent  # noqa: SLF001 (see above)
    try:
        version = os.environ.get(version_variable(folder.name))
        return platforms.choose(platforms.load(folder), version or None)
    except RezbuildError as error:
        raise PackageMetadataError(str(error)) from None


def profile(asked: str | None, *, central: bool) -> str:
    """The profile of a build: what was asked for, else optimized for releases and fast otherwise.

    So a first Python is there in minutes, and artists never get less than the best.
    """
    return asked or ("optimized" if central else "fast")


def _releasing() -> bool:
    """Whether this process is ``rez-release``: package.py is not told (rez/cli/release.py)."""
    return "rez.cli.release" in sys.modules
