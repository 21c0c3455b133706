"""From requests to an ordered list of builds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

from rez.version import Requirement, Version, VersionError, VersionRange

from rezbuild.catalogue import sources_toml
from rezbuild.catalogue.sources_toml import Recipe, Release
from rezbuild.errors import CatalogueError, FetchError, UsageError

Recipes = Mapping[str, Recipe]
# Tells whether a version can be built here: its source can be fetched, or it is installed. It may
# raise a FetchError that says why a source cannot be fetched.
Available = Callable[[Recipe, Release], bool]


# One build among those of all targets: host, repository, name, version.
Job = tuple[str, str, str, str]


@dataclass(frozen=True)
class Target:
    """Builds of one plan that are built against each other.

    Attributes:
        host: The label of the kind of host they are for, as ``debian12``; "" for this machine's.
        profile: ``fast`` or ``optimized``; "" where the settings and the kind of build decide.
        repository: The folder they are installed into; "" for what Rez is set to.
        name: What the user is shown, where there are several targets.
    """

    host: str = ""
    profile: str = ""
    repository: str = ""
    name: str = field(default="", compare=False)


# Of a run without a matrix.
DEFAULT_TARGET = Target()


@dataclass(frozen=True)
class Step:
    """One build.

    Attributes:
        built_against: The exact version of each package it needs, by name.
        requested: The user named it.
        target: What it belongs to.
        preferred: The version that would have been chosen if every source could be fetched.
    """

    recipe: Recipe
    release: Release
    built_against: Mapping[str, str]
    requested: bool
    target: Target = DEFAULT_TARGET
    preferred: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Name and version, which no other step of its target has."""
        return (self.release.name, self.release.version)

    @property
    def package(self) -> str:
        """The same, as Rez writes it."""
        return "-".join(self.key)

    @cached_property
    def job(self) -> Job:
        """What no other step of any target has.

        The profile does not tell two apart: a repository holds a variant once, in one profile.
        """
        return (self.target.host, self.target.repository, *self.key)

    @property
    def needs(self) -> list[Job]:
        """The jobs that must be done before it."""
        place = (self.target.host, self.target.repository)
        return [(*place, *needed) for needed in self.built_against.items()]

    def __str__(self) -> str:
        return f"{self.package}@{self.target.name}" if self.target.name else self.package


def recipes(folder: Path) -> Recipes:
    """Every recipe below ``folder``, by name.

    Raises:
        CatalogueError: One of them is wrong, or there is none.
    """
    found = [
        sources_toml.load(path.parent)
        for path in sorted(folder.glob(f"*/{sources_toml.FILE_NAME}"))
    ]
    if not found:
        raise CatalogueError(
            f"{folder} holds no recipes",
            advice=["run this in a clone of the project, or name its packages folder: --recipes"],
        )
    return {recipe.name: recipe for recipe in found}


def plan(
    recipes: Recipes, requests: Sequence[str], available: Available, target: Target = DEFAULT_TARGET
) -> list[Step]:
    """What to build, in order, for Rez requests such as ``python-3.11``.

    A range takes the newest version in it that is available. A bare name takes the default, and so
    does what is needed besides; then come the other versions of the default's series.

    Raises:
        UsageError: A request cannot be read.
        CatalogueError: There is no such package or version.
        FetchError: None of the versions can be had.
    """
    planner = _Planner(recipes, available, target)
    wanted = [planner.choose(request, exact=_is_range(request)) for request in requests]
    for recipe, release in wanted:
        planner.pins.setdefault(recipe.name, []).append(release.version)
    for recipe, release in wanted:
        planner.add(recipe, release, requested=True)
    return list(planner.steps.values())


def versions_in(recipe: Recipe, request: str) -> list[Release]:
    """The versions of a recipe that a request allows, newest first."""
    allowed = requirement(request).range or VersionRange()
    found = [r for r in recipe.releases.values() if allowed.contains_version(_version(r.version))]
    return sorted(found, key=lambda release: _version(release.version), reverse=True)


def series(version: str, *, rolling: bool = False) -> str:
    """Return what upstream maintains together: 3.11 of 3.11.2, 3.5 of 3.5.6, 8 of 8.2.

    Args:
        version: e.g. ``3.11.2``.
        rolling: Upstream maintains only the newest release of a major version: 3 of 3.53.4.
    """
    parts = Version(version)
    return str(parts.trim(1 if rolling else max(1, len(parts) - 1)))


def same_series(recipe: Recipe, version: str) -> list[Release]:
    """Return the versions of the series of ``version``, newest first.

    A rolling series ends with the default: what is newer counts once it is the default.
    """
    wanted, rolling = series(version, rolling=recipe.rolling), recipe.rolling
    last = max(_version(version), _version(recipe.default))
    return [
        release
        for release in versions_in(recipe, recipe.name)
        if series(release.version, rolling=rolling) == wanted
        and not (rolling and _version(release.version) > last)
    ]


class _Planner:
    def __init__(self, recipes: Recipes, available: Available, target: Target) -> None:
        self.recipes = recipes
        self.available = available
        self.target = target
        self.pins: dict[str, list[str]] = {}
        self.steps: dict[tuple[str, str], Step] = {}
        # Many need the same: each version is looked at once, and each request read once.
        self.had: dict[tuple[str, str], bool] = {}
        self.chosen: dict[str, tuple[Recipe, Release]] = {}
        self.preferred: dict[tuple[str, str], str] = {}
        self.errors: dict[tuple[str, str], FetchError] = {}

    def add(
        self, recipe: Recipe, release: Release, *, requested: bool, path: tuple[str, ...] = ()
    ) -> None:
        step = self.steps.get((recipe.name, release.version))
        if step is None:
            against = self._needs(recipe, release, path)
            preferred = self.preferred.get((recipe.name, release.version), release.version)
            step = Step(recipe, release, against, requested, self.target, preferred)
        elif requested:
            step = replace(step, requested=True)
        self.steps[step.key] = step

    def _needs(self, recipe: Recipe, release: Release, path: tuple[str, ...]) -> dict[str, str]:
        """Adds what a version is built against, and returns it."""
        if recipe.name in path:
            raise CatalogueError(f"packages need each other: {' → '.join((*path, recipe.name))}")
        against = {}
        for request in release.requires:
            try:
                needed, version = self._need(request)
            except UsageError as error:  # the user has not written it
                raise CatalogueError(
                    f"{recipe.folder / sources_toml.FILE_NAME}: requires of {release.version}: "
                    f"{error.message}",
                    advice=["docs/reference/catalogue.md describes each key"],
                ) from None
            self.add(needed, version, requested=False, path=(*path, recipe.name))
            against[needed.name] = version.version
        return against

    def _need(self, request: str) -> tuple[Recipe, Release]:
        if request not in self.chosen:
            self.chosen[request] = self.choose(request, exact=False)
        return self.chosen[request]

    def choose(self, request: str, *, exact: bool) -> tuple[Recipe, Release]:
        """The version for a request; ``exact``: newest first, the default has no precedence."""
        recipe = self._recipe(requirement(request).name)
        candidates = versions_in(recipe, request)
        if not candidates:
            raise CatalogueError(
                f"no version of {recipe.name} fits {request!r}",
                advice=[f"versions: {', '.join(recipe.releases)}", "rezbuild versions"],
            )
        if not exact:
            first = [*self.pins.get(recipe.name, []), recipe.default]
            first += [release.version for release in same_series(recipe, recipe.default)]
            last = len(first)
            candidates.sort(key=lambda r: first.index(r.version) if r.version in first else last)
        for release in candidates:
            if self._is_available(recipe, release):
                self.preferred.setdefault((recipe.name, release.version), candidates[0].version)
                return recipe, release
        raise FetchError(
            f"no version of {recipe.name} in {request!r} can be fetched here",
            tried=[self._reason(release) for release in candidates],
            advice=_advice(candidates[0]),
        )

    def _is_available(self, recipe: Recipe, release: Release) -> bool:
        key = (recipe.name, release.version)
        if key not in self.had:
            try:
                self.had[key] = self.available(recipe, release)
            except FetchError as error:
                self.had[key], self.errors[key] = False, error
        return self.had[key]

    def _reason(self, release: Release) -> str:
        """Return a version, and why its source cannot be fetched."""
        error = self.errors.get((release.name, release.version))
        tried = [line for line in error.tried if not line.startswith("cache: no ")] if error else []
        return f"{release.version}: {'; '.join(tried)}" if tried else release.version

    def _recipe(self, name: str) -> Recipe:
        try:
            return self.recipes[name]
        except KeyError:
            raise CatalogueError(
                f"no recipe for {name}", advice=[f"recipes: {', '.join(self.recipes)}"]
            ) from None


def _advice(release: Release) -> list[str]:
    """Return what helps where no version can be fetched, e.g. the newest one."""
    archive = release.archives[0]
    where = f" from {archive.urls[0]}" if archive.urls else ""
    return [
        f"put {archive.file}{where} into a folder, and set REZBUILD_MIRRORS to the folder",
        "or fill a folder where there is a network: rezbuild fetch --to DIR",
        f"rezbuild versions {release.name} lists the versions and their sources",
    ]


# The targets of a plan read the same ones, and Rez takes its time.
_version = lru_cache(maxsize=100_000)(Version)


@lru_cache(maxsize=100_000)
def requirement(request: str) -> Requirement:
    """What a request says.

    Raises:
        UsageError: It cannot be read, or there is nothing to build in it.
    """
    try:
        requirement = Requirement(request.strip())
    except (VersionError, ValueError) as error:  # Python reads no numbers of 5000 digits
        raise UsageError(
            f"{request[:80]!r} is not a Rez request: {str(error)[:200]}",
            advice=["write it as in python-3.11"],
        ) from None
    if not requirement.name:
        raise UsageError("an empty request", advice=["write it as in python-3.11"])
    if requirement.conflict or requirement.weak:
        raise UsageError(
            f"{request!r} says what is not wanted; there is nothing to build",
            advice=["write it as in python-3.11"],
        )
    return requirement


def _is_range(request: str) -> bool:
    allowed = requirement(request).range
    return allowed is not None and not allowed.is_any()
