"""Lock files: the exact versions, checksums and recipes of a plan, and the glibc to build for.

    format = 1
    rezbuild = "0.1.0"                     # wrote the file
    requests = ["vfxplatform-2026"]        # as on the command line
    glibc = "2.28"                         # the glibc to build for

    [[platform]]                           # each requested platform year
    name = "vfxplatform"
    version = "2026"
    glibc = "2.28"
    requires = ["~python-3.13"]

    [[package]]                            # each package of the plan, sorted
    name = "python"
    version = "3.13.5"
    recipe = "0123456789abcdef"            # see `recipe_revision` in manifest.py
    against = ["bzip2-1.0.8", ...]         # the exact dependencies
    [package.sha256]                       # each archive that may be its source
    "Python-3.13.5.tar.xz" = "..."

Equal plans give equal bytes. The build profile and the compilers are not in the file.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from rez.version import Version

import rezbuild
from rezbuild.catalogue import platform_years
from rezbuild.catalogue.model import Release
from rezbuild.catalogue.platform_years import Platform
from rezbuild.errors import CatalogueError, LockError, MachineError, UsageError
from rezbuild.files import safe_files
from rezbuild.payload import manifest
from rezbuild.plan import resolve
from rezbuild.plan.resolve import Recipes, Step
from rezbuild.settings import GLIBC, Settings
from rezbuild.util import toml, typed_table, words
from rezbuild.util.glibc_version import host_glibc, number

Years = Mapping[str, list[Platform]]
FORMAT = 1
_RESTORE = ("restore it from version control", "or write it again: rezbuild lock REQUEST")
_HEAD = """\
# Written by rezbuild lock. Do not edit it; commit it. "rezbuild build --locked" builds exactly
# these packages, or fails.
"""


@dataclass(frozen=True)
class Package:
    """One package; see the module."""

    name: str
    version: str
    recipe: str
    against: tuple[str, ...]
    sha256: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.name}-{self.version}"


@dataclass(frozen=True)
class Year:
    """One platform year; see the module."""

    name: str
    version: str
    glibc: str
    requires: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}-{self.version}"


@dataclass(frozen=True)
class Lock:
    """The content of a lock file; see the module."""

    rezbuild: str
    requests: tuple[str, ...]
    glibc: str
    platform: tuple[Year, ...]
    package: tuple[Package, ...]

    @classmethod
    def of_plan(
        cls, requests: Sequence[str], glibc: str, years: Iterable[Platform], steps: Iterable[Step]
    ) -> Lock:
        """Return the lock of a plan for one target.

        Raises:
            UsageError: ``glibc`` is "", since this host has another C library.
        """
        if not glibc:
            raise UsageError(
                "a lock file requires a glibc to build for, but this host has none",
                advice=["name it: --glibc 2.28"],
            )
        packages = [_package(step) for step in steps]
        packages.sort(key=lambda one: (one.name, Version(one.version)))
        found = [Year(y.name, y.version, y.glibc, y.requires) for y in years]
        named = tuple(dict.fromkeys(requests))
        return cls(rezbuild.__version__, named, glibc, tuple(found), tuple(packages))

    def text(self) -> str:
        """Return the text of the file."""
        lines = [f"format = {FORMAT}"]
        lines += [f"{key} = {_toml(getattr(self, key))}" for key in ("rezbuild", "requests")]
        lines += [f"glibc = {_toml(self.glibc)}"]
        for name, tables in (("platform", self.platform), ("package", self.package)):
            for table in tables:
                lines += ["", f"[[{name}]]", *_rows(name, table)]
        return _HEAD + "\n".join(lines) + "\n"


@dataclass(frozen=True)
class LockedRecipes:
    """A lock file that fits the recipes here, and the part of the recipes that it allows."""

    path: Path
    lock: Lock
    recipes: Recipes
    years: Years

    def check_plan(self, steps: Iterable[Step]) -> None:
        """Compare a plan of the file's requests with the file.

        Raises:
            LockError: The plan has other packages, or other dependencies.
        """
        planned = {str(one): one for one in map(_package, steps)}
        locked = {str(one): one for one in self.lock.package}
        found = [f"{name} is not in the file" for name in planned if name not in locked]
        found += [f"{name} is not needed any more" for name in locked if name not in planned]
        for name, one in locked.items():
            if name in planned and planned[name].against != one.against:
                other = ", ".join(sorted({*planned[name].against} ^ {*one.against}))
                found.append(f"{name} is built against other versions: {other}")
        _refuse(self.path, self.lock, found)

    def with_glibc(self, settings: Settings) -> Settings:
        """Return the settings with the glibc of the file.

        Raises:
            UsageError: The settings name another glibc.
            MachineError: This host has an older one, and would build.
        """
        wanted, host = self.lock.glibc, host_glibc()
        if settings.glibc not in {None, wanted}:
            raise UsageError(
                f"glibc {settings.glibc} does not fit the lock file {self.path}, "
                f"which is for glibc {wanted}",
                advice=[
                    "leave out --glibc and REZBUILD_GLIBC",
                    f"or {_write_again(self.path, self.lock, settings.glibc)}",
                ],
            )
        if host and number(wanted) > number(host) and not settings.scheduler:
            raise MachineError(
                f"the lock file {self.path} is for glibc {wanted}, but this host has glibc {host}",
                advice=[
                    f"build on a host with glibc {wanted} or newer",
                    f"or {_write_again(self.path, self.lock, host)}",
                ],
            )
        return replace(settings, glibc=wanted)


def load(path: Path, recipes: Recipes, years: Years) -> LockedRecipes:
    """Read a lock file, and compare it with the recipes here.

    Raises:
        LockError: The file is missing or invalid, a recipe, a version, a checksum or a platform
            year differs, or its packages do not satisfy its requests.
    """
    lock = _read(path)
    _refuse(path, lock, [*_year_differences(lock, years), *_recipe_differences(lock, recipes)])
    kept: dict[str, dict[str, Release]] = {}
    for one in lock.package:
        release = recipes[one.name].release(one.version)
        kept.setdefault(one.name, {})[one.version] = release
    kept_recipes = {name: replace(recipes[name], releases=found) for name, found in kept.items()}
    named = {str(year) for year in lock.platform}
    chosen = {name: [year for year in found if str(year) in named] for name, found in years.items()}
    chosen = {name: found for name, found in chosen.items() if found}
    locked = LockedRecipes(path, lock, kept_recipes, chosen)
    _check_requests(locked)
    return locked


def _check_requests(locked: LockedRecipes) -> None:
    """Check that the packages of a file satisfy its requests, e.g. after an edit by hand."""
    try:
        _, requests = platform_years.expand(locked.years, locked.lock.requests)
        resolve.plan(locked.recipes, requests, lambda *_: True)
    except (CatalogueError, UsageError) as error:
        raise LockError(
            f"requests of the lock file {locked.path} do not fit its packages",
            tried=[f"requests: {error.message}"],
            advice=_RESTORE,
        ) from None


def write(path: Path, lock: Lock) -> None:
    """Write a lock file in one step.

    Raises:
        OSError: The folder cannot be written.
    """
    safe_files.replace(path, lock.text().encode())


def _read(path: Path) -> Lock:
    try:
        data = toml.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LockError(
            f"the lock file {path} does not exist",
            advice=[f"write it: rezbuild lock REQUEST -o {shlex.quote(str(path))}"],
        ) from None
    except toml.UNREADABLE as error:
        raise _invalid(path, words.reason(error)) from None
    if data.pop("format", None) != FORMAT:
        raise _invalid(path, f"format must be {FORMAT}, the only one that this rezbuild reads")
    try:
        # A file without platform years has no such table.
        lock = typed_table.read(Lock, {"platform": [], "package": [], **data})
    except ValueError as error:
        raise _invalid(path, words.reason(error)) from None
    if not GLIBC.fullmatch(lock.glibc):
        raise _invalid(path, f"glibc is not a version such as 2.28: {lock.glibc!r}")
    if not lock.requests:
        raise _invalid(path, "requests is empty")
    # As after a merge in Git that kept both sides.
    names = [str(one) for one in (*lock.platform, *lock.package)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise _invalid(path, f"several entries of {', '.join(twice)}")
    return lock


def _invalid(path: Path, reason: str) -> LockError:
    return LockError(
        f"the lock file {path} cannot be read: {reason}",
        advice=_RESTORE,
    )


def _year_differences(lock: Lock, years: Years) -> Iterator[str]:
    for year in lock.platform:
        found = next((y for y in years.get(year.name, ()) if y.version == year.version), None)
        if found is None:
            yield f"{year} is not in the catalogue"
        elif (found.requires, found.glibc) != (year.requires, year.glibc):
            yield f"{year} has changed since: {', '.join(found.requires)}; glibc {found.glibc}"


def _recipe_differences(lock: Lock, recipes: Recipes) -> Iterator[str]:
    """Yield a line for each kind of difference from the recipes."""
    missing, changed = [], []
    for one in lock.package:
        recipe = recipes.get(one.name)
        release = recipe.releases.get(one.version) if recipe else None
        if recipe is None or release is None:
            missing.append(str(one))
        elif one.sha256 != (now := _sums(release)):
            for file in sorted({*one.sha256, *now}):
                if one.sha256.get(file) != now.get(file):
                    had, has = (sums.get(file, "none") for sums in (one.sha256, now))
                    yield f"{one}: sha256 of {file}: {had} in the file, {has} in the catalogue"
        elif one.recipe != manifest.recipe_revision(recipe, release):
            changed.append(str(one))
    if missing:
        yield f"not in the catalogue: {', '.join(missing)}"
    if changed:
        yield f"the recipe or rezbuild has changed since: {', '.join(changed)}"


def _refuse(path: Path, lock: Lock, differences: Sequence[str]) -> None:
    if not differences:
        return
    tried = list(differences)
    if lock.rezbuild != rezbuild.__version__:
        tried.append(f"rezbuild {lock.rezbuild} wrote the file; this is {rezbuild.__version__}")
    raise LockError(
        f"the lock file {path} does not fit the recipes here",
        tried=tried,
        advice=[
            "check out the commit for which the file was written",
            f"or review the changes, and {_write_again(path, lock, lock.glibc)}",
        ],
    )


def _write_again(path: Path, lock: Lock, glibc: str | None) -> str:
    words = ["rezbuild", "lock", *lock.requests, *(["--glibc", glibc] if glibc else [])]
    return f"write it again: {shlex.join([*words, '-o', str(path)])}"


def _package(step: Step) -> Package:
    against = tuple(sorted(f"{name}-{version}" for name, version in step.built_against.items()))
    revision = manifest.recipe_revision(step.recipe, step.release)
    return Package(*step.key, revision, against, _sums(step.release))


def _sums(release: Release) -> dict[str, str]:
    return {archive.file: archive.sha256 for archive in release.archives}


def _rows(name: str, table: Any) -> Iterator[str]:
    """Yield the lines of a table; inner tables must be the last ones."""
    for field in fields(table):
        value = getattr(table, field.name)
        if isinstance(value, Mapping):
            yield f"[{name}.{field.name}]"
            yield from (f"{_toml(key)} = {_toml(one)}" for key, one in sorted(value.items()))
        else:
            yield f"{field.name} = {_toml(value)}"


def _toml(value: str | Sequence[str]) -> str:
    """Return a text or a list of texts as TOML, whose strings are like those of JSON."""
    if isinstance(value, str):
        return json.dumps(value)
    if len(value) < 2:
        return json.dumps(list(value))
    return "[\n" + "".join(f"    {json.dumps(one)},\n" for one in value) + "]"
