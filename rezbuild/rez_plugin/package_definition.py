"""The attributes that the ``package.py`` files of all recipes have in common.

A recipe's ``package.py`` has its own attributes, and ``define(globals())`` adds the rest:

    from rezbuild.rez_plugin.package_definition import define

    name = "zlib"
    description = "Lossless data compression."
    authors = ["Jean-loup Gailly", "Mark Adler"]
    help = "https://zlib.net/"
    uuid = "2a9d40ec-43f1-50fc-8c6d-31ca83eb0cee"
    define(globals())

Rez evaluates ``package.py`` several times per command, so nothing heavy is imported here. It
stores the source text of late functions and of ``commands`` in the installed ``package.py``
(rez/utils/sourcecode.py), so each of them has to import what it uses.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rez.exceptions import PackageMetadataError
from rez.utils.sourcecode import early, late

from rezbuild.errors import RezbuildError
from rezbuild.settings import Settings, build_profile, version_variable

if TYPE_CHECKING:
    from rezbuild.catalogue.model import Recipe
    from rezbuild.catalogue.platform_years import Platform

# The attribute for the part of ``requires`` that is known before the build.
FIXED = "fixed_requires"

# Rez defines these for late functions and commands.
this: Any = None
env: Any = None
defined: Any = None
getenv: Any = None
unsetenv: Any = None


@dataclass(frozen=True)
class Package:
    """The computed attributes of a recipe, for the requested version."""

    recipe: Recipe
    version: str

    @property
    def variants(self) -> list[list[str]]:
        """The variant of this host; variants of other platforms cannot be built here."""
        from rez.system import system

        return [[f"platform-{system.platform}", f"arch-{system.arch}"]]

    @property
    def requires(self) -> list[str]:
        """The dependencies; exact versions if REZBUILD_<NAME>_VERSION is set."""
        requests = self.recipe.release(self.version).requires
        names = [request.partition("-")[0] for request in requests]
        exact = [os.environ.get(version_variable(name)) for name in names]
        return [
            f"{name}=={version}" if version and "==" not in request else request
            for name, version, request in zip(names, exact, requests)
        ]

    @property
    def build_command(self) -> list[str]:
        """The build command, run by Rez's interpreter: the build environment's PATH has no venv."""
        return [sys.executable, "-I", "-m", "rezbuild.rez_plugin.build_command"]

    @property
    def built_from(self) -> dict[str, str]:
        """The record in the installed package: source, checksum, recipe and profile."""
        from rezbuild.payload import manifest

        release = self.recipe.release(self.version)
        source = release.archives[0]
        asked = os.environ.get("REZBUILD_PROFILE", "").strip()
        profile = build_profile(asked, release=_is_release())
        return {
            "url": source.urls[0],
            "sha256": source.sha256,
            "license": release.license,
            "recipe": manifest.recipe_revision(self.recipe, release),
            **({"profile": profile} if self.recipe.profiled else {}),
        }


def define(definition: dict[str, Any], *, requires_at_run_time: bool = False) -> None:
    """Add the attributes that a ``package.py`` does not set itself.

    Args:
        definition: The ``globals()`` of the ``package.py``.
        requires_at_run_time: The payload uses its dependencies where they are installed, and holds
            no copies of them: they are ``requires``, not ``private_build_requires``.
    """
    folder = _folder_of_caller()
    common: dict[str, Any] = {"relocatable": True, "cachable": True}
    if (folder / "platform.toml").is_file():
        find: Callable[[], Any] = functools.lru_cache(None)(lambda: _platform(folder))
        attributes = {name: name for name in ("version", "requires", "draft", "glibc")}
        common["build_command"] = False
    else:
        find = functools.lru_cache(None)(lambda: _package(folder))
        attributes = {name: name for name in ("version", "variants", "build_command", "built_from")}
        own = definition.pop("requires") if isinstance(definition.get("requires"), list) else []
        if requires_at_run_time:
            common[FIXED] = _computed(find, "requires", own)
        else:
            attributes["private_build_requires"] = "requires"
            if own:
                definition[FIXED] = own
        common.update(tests=tests, glibc=glibc, requires=requires)
        if "tools" in definition:
            common["commands"] = commands
    common.update((name, _computed(find, source)) for name, source in attributes.items())
    for name, value in common.items():
        definition.setdefault(name, value)


@late()  # type: ignore[untyped-decorator]
def tests() -> Any:
    import sys
    from importlib.util import find_spec

    # The payload's own test runs on any host; rezbuild's check gates a release.
    run = ["sh", "{root}/rezbuild-test/run.sh"]
    check = [sys.executable, "-I", "-m", "rezbuild", "check", "--moved", "{root}"]
    found = {
        "host": {"command": run, "on_variants": True},
        "host-long": {"command": [*run, "long"], "run_on": "explicit", "on_variants": True},
    }
    if find_spec("rezbuild"):
        found["release"] = {"command": check, "run_on": "pre_release", "on_variants": True}
    return found


@late()  # type: ignore[untyped-decorator]
def glibc() -> Any:
    import json
    import os

    from rez.system import system

    # The oldest glibc that the payload for this arch runs on, as its build recorded it.
    needed = []
    for variant in this.iter_variants():
        if f"arch-{system.arch}" in map(str, variant.variant_requires):
            try:
                with open(os.path.join(variant.root, "rezbuild.json"), encoding="utf-8") as record:
                    needed.append([int(part) for part in json.load(record)["glibc"].split(".")])
            except (AttributeError, KeyError, OSError, TypeError, ValueError):
                pass  # no payload, or one that needs no glibc
    return ".".join(map(str, min(needed))) if needed else None


@late()  # type: ignore[untyped-decorator]
def requires() -> Any:
    # On hosts whose Rez settings have the implicit package .glibc==<version>, Rez refuses payloads
    # that need a newer glibc. On other hosts, this requirement changes nothing.
    needed = this.glibc
    return [*getattr(this, "fixed_requires", []), *([f".glibc-{needed}+"] if needed else [])]


def commands() -> None:
    env.PATH.prepend("{root}/bin")


def commands_of_python() -> None:
    env.PATH.prepend("{root}/bin")
    # A DCC may have set PYTHONHOME for its Python, and other Pythons cannot start with it. Python
    # ignores an empty value, which also works where Rez cannot unset a variable: its interpreter
    # for ResolvedContext.execute_command (rez/rex.py, class Python).
    if defined("PYTHONHOME") and getenv("PYTHONHOME"):
        env.PYTHONHOME = ""
        # Also remove the DCC's PYTHONPATH, unless a package of this environment has set it.
        actions = getenv.__self__
        if "PYTHONPATH" not in actions.environ:
            unsetenv("PYTHONPATH")
            getattr(actions.interpreter, "target_environ", {}).pop("PYTHONPATH", None)


# Rez drops functions with other names (rez/serialise.py, process_python_objects).
commands_of_python.__name__ = "commands"


def package() -> Package:
    """Return the package whose ``package.py`` calls this.

    Raises:
        PackageMetadataError: The catalogue or the version asked for is wrong.
    """
    return _package(_folder_of_caller())


def platform() -> Platform:
    """Return the version that is asked for of the platform whose ``package.py`` calls this.

    Raises:
        PackageMetadataError: platform.toml or the version asked for is wrong.
    """
    return _platform(_folder_of_caller())


def _computed(
    find: Callable[[], Any], attribute: str, first: Sequence[Any] = ()
) -> Callable[[], Any]:
    """Return a function that Rez replaces by its result when it has loaded ``package.py``.

    If the attribute is a list or a tuple, the result is a list that begins with `first`.
    """

    @early()  # type: ignore[untyped-decorator]
    def compute() -> Any:
        value = getattr(find(), attribute)
        return [*first, *value] if isinstance(value, (list, tuple)) else value

    return compute  # type: ignore[no-any-return]


def _folder_of_caller() -> Path:
    """Return the folder of the ``package.py`` that calls the caller of this function.

    Rez gives package.py no ``__file__``, but compiles it under its path (rez/serialise.py,
    _load_py).
    """
    return Path(sys._getframe(2).f_code.co_filename).parent  # noqa: SLF001


def _package(folder: Path) -> Package:
    from rezbuild.catalogue import sources_toml

    try:
        recipe = sources_toml.load(folder)
        found = Package(recipe, _version(recipe))
        found.built_from  # noqa: B018 (report here whatever is wrong with the recipe)
    except RezbuildError as error:
        # For other exceptions, Rez shows a traceback (rez/cli/build.py, setup_parser_common).
        raise PackageMetadataError(str(error)) from None
    return found


def _platform(folder: Path) -> Platform:
    from rezbuild.catalogue import platform_years

    try:
        version = os.environ.get(version_variable(folder.name))
        return platform_years.choose(platform_years.load(folder), version or None)
    except RezbuildError as error:
        raise PackageMetadataError(str(error)) from None


# By recipe folder. A process evaluates package.py several times, and its build may fetch a source
# meanwhile: each evaluation has to return the same version.
_versions: dict[Path, str] = {}


def _version(recipe: Recipe) -> str:
    """Return the version to build: REZBUILD_<NAME>_VERSION, else what a bare command means.

    ``rez-build`` takes the newest release of the default's series whose source is here, else the
    default. ``rez-release`` takes the default: a release must not depend on what one cache holds.
    """
    from rezbuild.sources import local_sources

    asked = os.environ.get(version_variable(recipe.name))
    if asked or _is_release():
        return asked or recipe.default
    if recipe.folder not in _versions:
        _versions[recipe.folder] = local_sources.newest(recipe, Settings.read()).version
    return _versions[recipe.folder]


def _is_release() -> bool:
    """Whether this process is ``rez-release``: package.py is not told (rez/cli/release.py)."""
    return "rez.cli.release" in sys.modules
